"""Published methods as presets, one YAML file each."""
