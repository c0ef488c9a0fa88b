"""Files become text, text becomes passages, and passages are found again. It fetches nothing and asks no model."""
