export default function Settings(_: { tab: string }) {
  return null;
}
