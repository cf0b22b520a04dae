"""Files and bags: captures and recordings in, results out."""
