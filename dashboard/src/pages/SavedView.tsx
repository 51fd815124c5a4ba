export default function SavedView(_: { id: string }) {
  return null;
}
