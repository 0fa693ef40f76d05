"""From numbers to table, figures and page."""
