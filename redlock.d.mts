export {
  Redlock as default,
  Redlock,
  Lock,
  ExecutionError,
  ResourceLockedError,
} from './redlock.js';
export type {
  Client,
  ExecutionResult,
  ExecutionStats,
  IoredisClient,
  RedlockAbortSignal,
  Settings,
} from './redlock.js';
