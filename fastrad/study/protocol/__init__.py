"""Who is compared with what: patients, splits and arms."""
