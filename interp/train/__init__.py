"""Training: the loop, its optimisers, its schedules and the presets. Import from the modules, so that help need not load
torch; `interp.train_run` is the one public function."""
