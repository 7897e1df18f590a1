"""TFDS data set of the RSNA Pediatric Bone Age Challenge 2017."""
