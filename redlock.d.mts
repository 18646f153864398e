export {
  Redlock as default,
  Redlock,
  Lock,
  ExecutionError,
  ResourceLockedError,
} from './redlock.js';
export type {
  Client,
  ClientExecutionResult,
  ExecutionResult,
  ExecutionStats,
  IoredisClient,
  PartialSettings,
  RedlockAbortSignal,
  Script,
  Settings,
} from './redlock.js';
