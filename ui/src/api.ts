// Asks the query API.

import type { ChargedRow, Counted, Line, List, PathRow, RequestRow, ServiceRow, SessionRow, Timeline, Tree } from "./types";

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { accept: "application/json" }, signal: signal ?? null });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The repository does not answer.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) {
    const message = (body as { error?: { message?: string } } | null)?.error?.message;
    throw new ApiError(response.status, message ?? `The repository answered ${response.status}.`);
  }
  return body as T;
}

function query(path: string, parameters: Record<string, string | undefined>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value) search.set(name, value);
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export interface RequestFilter {
  service?: string | undefined;
  min_duration?: string | undefined;
  error?: string | undefined;
  limit?: string | undefined;
  cursor?: string | undefined;
}

export async function requests(filter: RequestFilter, signal?: AbortSignal): Promise<List<RequestRow>> {
  const answer = await ask<{ requests: RequestRow[]; next: string | null }>(query("/api/v1/requests", { ...filter }), signal);
  return { rows: answer.requests, next: answer.next };
}

export async function sessions(filter: { limit?: string; cursor?: string }, signal?: AbortSignal): Promise<List<SessionRow>> {
  const answer = await ask<{ sessions: SessionRow[]; next: string | null }>(query("/api/v1/sessions", { ...filter }), signal);
  return { rows: answer.sessions, next: answer.next };
}

export const timeline = (id: string, signal?: AbortSignal) => ask<Timeline>(`/api/v1/sessions/${encodeURIComponent(id)}`, signal);
export const tree = (origin: string, signal?: AbortSignal) => ask<Tree>(`/api/v1/requests/${encodeURIComponent(origin)}`, signal);
export const paths = () => ask<{ paths: PathRow[]; next: string | null; counted: Counted }>("/api/v1/analysis/paths");
export const audit = (query: string) =>
  ask<{ lines: Line[]; next: string | null; counted: Counted }>(`/api/v1/audit${query ? `?${query}` : ""}`);
export const proof = (query: string) => ask<{ requests: ChargedRow[]; next: string | null }>(`/api/v1/audit/requests?${query}`);
export const services = async (signal?: AbortSignal) =>
  (await ask<{ services: ServiceRow[] }>("/api/v1/services", signal)).services;
