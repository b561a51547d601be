"""Turn result rows into statistics, tables, plots and pages; never imports torch."""
