const LABEL = /^([A-Za-z0-9][-\w./]{0,252})=([-\w.]{0,63})$/;

/** Reads `team=shop,stage=prod`: names and values as Kubernetes takes them for labels. */
export function parseLabels(text: string, { addIssue }: { addIssue(message: string): void }): Record<string, string> {
  const labels: [string, string][] = [];
  for (const one of text.split(',')) {
    const [, name, value] = LABEL.exec(one.trim()) ?? [];
    if (name === undefined || value === undefined)
      addIssue(`holds ${JSON.stringify(one)}; labels are name=value, with commas between`);
    else labels.push([name, value]);
  }
  return Object.fromEntries(labels);
}
