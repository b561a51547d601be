"""Imported when everything else is: what there is by then stays, and is no longer looked through for garbage."""

import atexit
import gc

gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)
atexit.register(gc.unfreeze)  # some libraries complain of what is left when an interpreter ends
