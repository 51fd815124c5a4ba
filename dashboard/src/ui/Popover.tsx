import { type ReactNode, useId, useRef, useState } from "react";
import styles from "./Popover.module.css";

interface Props {
  label: ReactNode;
  /** What the button is called where its label says too little. */
  name?: string;
  className?: string | undefined;
  /** Rendered while it is open; `close` closes it. */
  children: (close: () => void) => ReactNode;
}

/** A button and what it opens below itself, on the browser's own popover. */
export function Popover({ label, name, className, children }: Props) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);

  function place(): void {
    const anchor = button.current!.getBoundingClientRect();
    const width = box.current!.offsetWidth;
    const left = Math.max(8, Math.min(anchor.left, innerWidth - width - 8));
    Object.assign(box.current!.style, { left: `${left}px`, top: `${anchor.bottom + 4}px`, maxHeight: `${innerHeight - anchor.bottom - 16}px` });
  }

  return (
    <>
      <button ref={button} type="button" className={className} popoverTarget={id} aria-label={name} aria-expanded={isOpen} aria-haspopup="dialog">
        {label}
      </button>
      <div
        ref={box}
        id={id}
        popover="auto"
        className={styles.box}
        role="dialog"
        aria-label={name ?? (typeof label === "string" ? label : undefined)}
        onToggle={(event) => {
          const opens = event.newState === "open";
          setOpen(opens);
          if (opens) {
            requestAnimationFrame(place);
          }
        }}
      >
        {isOpen && children(() => box.current?.hidePopover())}
      </div>
    </>
  );
}
