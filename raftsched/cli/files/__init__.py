"""The files of users: tasks, crontabs, calendars."""
