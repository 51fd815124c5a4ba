"""The newest runs of Alice and Bob side by side, and their models back.   python compare.py [EXPERIMENT]"""

import hashlib
import sys
import tempfile

import joblib
from sklearn.datasets import make_classification

import runstone

experiment = sys.argv[1] if len(sys.argv) > 1 else "churn"
newest = {run.name: run.id for run in reversed(runstone.runs(experiment=experiment))}

comparison = runstone.compare([newest["alice"], newest["bob"]])  # one GraphQL query
print(comparison)

X, y = make_classification(n_samples=1000, n_features=20, random_state=42)
[logged] = [tag.values for tag in comparison.tags if tag.key == "predictions"]

for run, digest in zip(comparison.runs, logged, strict=True):
    with tempfile.TemporaryDirectory() as folder:
        path = runstone.download(run.id, "model", to=folder)
        model = joblib.load(path / "model.joblib")  # runs what is in the file: only load models you trust
    same = hashlib.sha256(model.predict_proba(X).tobytes()).hexdigest() == digest
    print(f"{run.name}'s model came back and predicts {'exactly what it did' if same else 'SOMETHING ELSE'}")
    if not same:
        sys.exit(1)
