"""A minimal listing, as the documentation of Django REST Framework and django-redis describes it."""

from __future__ import annotations

import os

import dj_database_url

SECRET_KEY = "benchmark"  # noqa: S105  # public, signs nothing
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "stock.views"
USE_TZ, TIME_ZONE = True, "UTC"
INSTALLED_APPS = ["rest_framework", "stock"]
MIDDLEWARE = [
    *(["stock.views.metrics"] if os.environ["LOGS"] == "on" else []),
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)}
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": os.environ["REDIS_URL"]}}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_RATES": {"anon": "1000000/min"},
}
