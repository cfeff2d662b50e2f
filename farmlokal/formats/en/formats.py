"""How pages show times to staff: to the second, and with the time zone of settings.TIME_ZONE."""

DATETIME_FORMAT = "j M Y, H:i:s T"
