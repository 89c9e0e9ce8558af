"""Addresses of the test site."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from chat import views

urlpatterns = [
    path("", views.home),
    path("login/", LoginView.as_view()),
    path("logout/", LogoutView.as_view()),
    path("leave/", views.leave),
    path("ticket/", views.socket_ticket),
    path("say/<str:group>/", views.say),
]
