"""Configuration: frozen models, a YAML loader that names file, line and key, secrets, and the diff of two configs."""
