"""One computing thread per process, also in those that tests start: cores are shared by workers.

Threads of a small product mostly wait for each other, and by default they wait busily. Set before
any library reads it, so in no fixture.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
