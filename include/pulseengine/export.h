/* Symbol visibility of the public functions.  Nothing for users to set. */
#ifndef PULSEENGINE_EXPORT_H
#define PULSEENGINE_EXPORT_H

#if defined(__GNUC__) && __GNUC__ >= 4
#define PULSE_API __attribute__((visibility("default")))
#else
#define PULSE_API
#endif

#if defined(__cplusplus)
#define PULSE_NOEXCEPT noexcept
#define PULSE_BEGIN_DECLS extern "C" {
#define PULSE_END_DECLS }
#else
#define PULSE_NOEXCEPT
#define PULSE_BEGIN_DECLS
#define PULSE_END_DECLS
#endif

#endif
