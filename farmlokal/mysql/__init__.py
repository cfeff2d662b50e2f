"""Django's MySQL backend with this service's additions."""
