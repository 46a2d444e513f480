"""A Django project as the tutorial of Channels has one: nothing in it knows of Lambda."""
