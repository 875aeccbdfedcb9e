"""Whether this process is about to end; who waits for something lets go of it then."""

import threading

begun = threading.Event()
