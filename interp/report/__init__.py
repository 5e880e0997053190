"""Results for people and programs: files, pictures, and the one page."""
