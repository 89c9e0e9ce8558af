"""Addresses of the test site."""

from django.conf import settings
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from chat import views

urlpatterns = [
    path("", views.home),
    path("login/", LoginView.as_view()),
    path("logout/", LogoutView.as_view()),
    path("leave/", views.leave),
    path("ticket/", views.socket_ticket),
    path("say/<str:group>/", views.say),
]

if "otp" in settings.APPS:
    from django_otp.views import LoginView as SecondStepView

    urlpatterns.append(path("otp/", SecondStepView.as_view()))
if "allauth" in settings.APPS:
    urlpatterns.append(path("accounts/", include("allauth.urls")))
if "jwt" in settings.APPS:
    from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

    urlpatterns += [path("jwt/", TokenObtainPairView.as_view()), path("jwt/refresh/", TokenRefreshView.as_view())]
