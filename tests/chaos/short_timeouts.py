"""Stop idle item processes early, so that no test waits long for them. Preloaded by the cluster's workers."""

from tasks.engine.running import slot_pool

slot_pool._IDLE_SECONDS = 2.0
