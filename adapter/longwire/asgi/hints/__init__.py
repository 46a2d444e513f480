"""What `longwire dev` and `longwire.testing` tell an app's author in time. Nobody else loads it."""
