"""The operator API: routes over `rollout.operations`, mounted by whoever knows who may call what."""
