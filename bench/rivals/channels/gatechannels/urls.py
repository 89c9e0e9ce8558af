"""The one address for HTTP."""

from django.urls import path

from .views import send

urlpatterns = [path("send/<str:group>", send)]
