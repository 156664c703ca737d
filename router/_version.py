"""The one place that states the version; read by the build and by `keyroute --version`."""

VERSION = "0.1.0"
