"""`python -m casemate.serve.listing`: the doors of the gateway as JSON, for whoever looks at it
from outside and may not import it.
"""

import sys

import msgspec

from casemate.serve.routes import OPEN, ROUTES


def listing() -> bytes:
    """`{"doors": [{"name", "path", "method", "action"}], "open": [path]}`, in the order in which
    the gateway looks for a path's door.
    """
    doors = [
        {
            "name": route.name,
            "path": "/" + "/".join(route.path),
            "method": route.method,
            "action": route.action,
        }
        for route in ROUTES
    ]
    return msgspec.json.encode({"doors": doors, "open": sorted(OPEN)})


if __name__ == "__main__":
    sys.stdout.buffer.write(listing())
