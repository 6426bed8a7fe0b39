/**
 * The token of a claim: the id of its task and its fence, as one word for URLs. Clients must not
 * take it apart.
 */

export interface ClaimId {
  readonly taskId: string;
  readonly fence: number;
}

/** A UUIDv7, a dot, and the fence. */
const TOKEN =
  /^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\.([1-9][0-9]{0,15})$/;

export function tokenOf({ taskId, fence }: ClaimId): string {
  return `${taskId}.${fence}`;
}

/** The claim with this token; null for text that has not the form of a token. */
export function claimOfToken(token: string): ClaimId | null {
  const [, taskId, digits] = TOKEN.exec(token) ?? [];
  if (taskId === undefined || digits === undefined) return null;
  const fence = Number(digits);
  return Number.isSafeInteger(fence) ? { taskId, fence } : null;
}
