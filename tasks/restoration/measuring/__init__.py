"""The measurements that make up a diagnosis, over a few windows of a tape: ``measure.diagnose``."""
