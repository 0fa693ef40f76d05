"""From numbers to tables, figures and page.

In: a study's folder with `study.json` and `predictions.csv`. Out: `table.*`, `figures/`, `errors/`, `report.html`.
"""
