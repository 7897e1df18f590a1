# Reading the age off 16 x 16 pixels, at a small size.
python -m pytest tests -k test_size_brightness_and_markers_do_not_give_the_age
