const MODEL_ENDINGS = /\.(ckpt|gguf|h5|joblib|keras|mar|onnx|pickle|pkl|pmml|pt|pth|safetensors|tflite|ubj)$/i;

/** Whether a file is a part of a model: it is in a folder named so, as `log_model` makes them, or ends like one. */
export function isModelFile(path: string): boolean {
  return /^models?[^/]*\//i.test(path) || MODEL_ENDINGS.test(path);
}
