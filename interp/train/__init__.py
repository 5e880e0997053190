"""How a model learns: the loop, its optimiser, its schedules and the presets. Import from the modules, as help does
without loading torch; `interp.train_run` is the one public function."""
