"""Settings of the test site; everything a test varies comes from the environment."""

import json
import os
from pathlib import Path

import django

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ["SITE_SECRET_KEY"]
SECRET_KEY_FALLBACKS = [k for k in os.environ.get("SITE_FALLBACKS", "").split(",") if k]
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "gatecast.django",
    "chat",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
if os.environ.get("SITE_TOKENS"):
    INSTALLED_APPS += ["rest_framework", "rest_framework.authtoken", "knox"]
    REST_KNOX = {"TOKEN_PREFIX": os.environ["SITE_TOKENS"]} if os.environ["SITE_TOKENS"] != "-" else {}
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]

if os.environ.get("SITE_CUSTOM_USER"):
    INSTALLED_APPS.append("accounts")
    AUTH_USER_MODEL = "accounts.Member"

if os.environ.get("SITE_POSTGRES"):
    host, port, name, user, password = os.environ["SITE_POSTGRES"].split(",")
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": host,
            "PORT": port,
            "NAME": name,
            "USER": user,
            "PASSWORD": password,
        }
    }
elif os.environ.get("SITE_MARIADB"):
    import pymysql

    pymysql.version_info = (2, 2, 1, "final", 0)  # Django asks for this mysqlclient, whose place PyMySQL takes without a compiler
    pymysql.install_as_MySQLdb()
    host, port, name, user = os.environ["SITE_MARIADB"].split(",")
    DATABASES = {"default": {"ENGINE": "django.db.backends.mysql", "HOST": host, "PORT": int(port), "NAME": name, "USER": user}}
else:
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_SQLITE"]}}
DATABASES["default"]["ATOMIC_REQUESTS"] = "SITE_ATOMIC" in os.environ

SESSION_COOKIE_NAME = os.environ.get("SITE_COOKIE", "sessionid")
SESSION_ENGINE = "django.contrib.sessions.backends." + os.environ.get("SITE_ENGINE", "db")
SESSION_FILE_PATH = os.environ.get("SITE_SESSION_FILES")
if os.environ.get("SITE_SERIALIZER"):
    SESSION_SERIALIZER = "django.contrib.sessions.serializers." + os.environ["SITE_SERIALIZER"]
if os.environ.get("SITE_CACHE"):
    CACHES = {"default": json.loads(os.environ["SITE_CACHE"])}
# Tests log in often, and what a password hash costs is not what they are about.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]

# Third-party logins, as their installation guides have them.
APPS = os.environ.get("SITE_APPS", "").split(",")
if "otp" in APPS:
    INSTALLED_APPS += ["django_otp", "django_otp.plugins.otp_static"]
    MIDDLEWARE += ["django_otp.middleware.OTPMiddleware"]
    OTP_STATIC_THROTTLE_FACTOR = 0  # the right token may follow a wrong one at once
if "allauth" in APPS:
    INSTALLED_APPS += ["allauth", "allauth.account", "allauth.mfa"]
    MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
    AUTHENTICATION_BACKENDS += ["allauth.account.auth_backends.AuthenticationBackend"]
    ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    if django.VERSION >= (4, 2):
        ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
    else:  # the last allauth for it calls this otherwise
        ACCOUNT_EMAIL_REQUIRED = True
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    STATIC_URL = "/static/"  # the middleware of old ones looks at it
if "jwt" in APPS:
    SIMPLE_JWT = {"SIGNING_KEY": os.environ["SITE_JWT_KEY"], "CHECK_REVOKE_TOKEN": True, **json.loads(os.environ["SITE_JWT"] or "{}")}

LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
LANGUAGE_CODE = "en-us"
TIME_ZONE = os.environ.get("SITE_TIME_ZONE", "UTC")
# Each version's own default: false in 4.2, true from 5.0 on.
USE_TZ = django.VERSION >= (5, 0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

GATECAST = {
    "url": os.environ.get("SITE_NATS", "nats://127.0.0.1:4222"),
    "user": "app",
    "token": os.environ.get("SITE_NATS_TOKEN", ""),
    "user_prefix": os.environ.get("SITE_PREFIX", ""),
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
