"""The API in the shape of the engagement platform's own: what calls the platform today can call keyroute."""

from router.platform_api.routes import refused, routes

__all__ = ["refused", "routes"]
