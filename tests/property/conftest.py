"""Settings of the property tests: the time that an example takes is no test, and a failure prints what replays it.

RAFTSCHED_EXAMPLES=5000 looks at more examples per test.
"""

import os

from hypothesis import settings

settings.register_profile(
    "raftsched", deadline=None, print_blob=True, max_examples=int(os.environ.get("RAFTSCHED_EXAMPLES", "100"))
)
settings.load_profile("raftsched")
