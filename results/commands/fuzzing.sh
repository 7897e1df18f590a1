python -m benchmarks.fuzz_films --kind=image --minutes=10
python -m benchmarks.fuzz_films --kind=dicom --minutes=10
python -m benchmarks.fuzz_films --kind=archive --minutes=10
