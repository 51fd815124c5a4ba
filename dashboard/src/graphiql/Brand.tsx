import mark from "../ui/mark.svg";

interface Props {
  connected: boolean;
  onChangeToken: () => void;
}

/** The wordmark, and the way to another token. */
export function Brand({ connected, onChangeToken }: Props) {
  return (
    <div className="brand">
      <button type="button" onClick={onChangeToken} aria-label="Change the access token" title="Change the access token">
        <i className={connected ? "on" : "off"} aria-hidden="true" />
        {connected ? "Token" : "No token"}
      </button>
      <span>
        <img src={mark} alt="" width="18" height="18" />
        Runstone
      </span>
    </div>
  );
}
