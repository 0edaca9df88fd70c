"""Every test may ask for a real cluster: see `k8slab.testing.plugin`."""

import signal

pytest_plugins = ["k8slab.testing.plugin"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script, all that tests start would be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
