const GAP_MS_MIN = 250;

/**
 * Repeats work as often as it is asked for, but one at a time, and with a pause behind each that is as long as it took:
 * news that come faster than they can be shown are shown together.
 */
export class Pace {
  private isAsked = false;
  private isBusy = false;
  private isOver = false;

  constructor(private readonly work: () => Promise<void>) {}

  /** Do the work soon; being asked again before it begins changes nothing. */
  ask(): void {
    this.isAsked = true;
    if (!this.isBusy && !this.isOver) {
      void this.run();
    }
  }

  /** Begin no work any more. */
  end(): void {
    this.isOver = true;
  }

  private async run(): Promise<void> {
    this.isBusy = true;
    while (this.isAsked && !this.isOver) {
      this.isAsked = false;
      const begin = performance.now();
      await this.work();
      const gap = Math.max(GAP_MS_MIN, performance.now() - begin);
      await new Promise((resolve) => setTimeout(resolve, gap));
    }
    this.isBusy = false;
  }
}
