"""The file for Locust: users on a schedule if `shopwindow loadtest` started the process, ordinary users otherwise."""

# The order matters. Importing Locust patches the standard library. gRPC must then hear of gevent before its first
# channel is made, and only after that may the client be used.
# ruff: noqa: E402
from __future__ import annotations

import os

import locust as locust
from grpc.experimental.gevent import init_gevent

init_gevent()

from shopwindow_loadtests.sending.launching import OPTIONS_VARIABLE

# Locust takes the users, and the shape of the load, from the names in this file.
if OPTIONS_VARIABLE in os.environ:
    from shopwindow_loadtests.sending.scheduled import ClosedLoopUser as ClosedLoopUser
    from shopwindow_loadtests.sending.scheduled import OpenLoopUser as OpenLoopUser
    from shopwindow_loadtests.sending.scheduled import Schedule as Schedule
else:
    from shopwindow_loadtests.sending.ordinary import Shopper as Shopper
