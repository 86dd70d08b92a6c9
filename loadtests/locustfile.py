"""Load on a Shopwindow server with Locust's own options and web interface.

    locust -f loadtests/locustfile.py --host localhost:8001

See docs/loadtests.md.
"""

from shopwindow_loadtests.sending.locustfile import Shopper as Shopper
