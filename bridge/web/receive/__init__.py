"""Pages of a receiving team: the list, one alert, its steps, search, numbers."""
