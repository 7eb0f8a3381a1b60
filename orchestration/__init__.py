"""Puts it together: settings, resources, definitions, schedules, sensors and the command line."""
