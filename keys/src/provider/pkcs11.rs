//! PKCS#11: AES-256 keys made inside a token and never let out of it. A blob is `iv12 | ct32 | tag16` by CKM_AES_GCM with
//! the 80-byte binding as additional data.
//!
//! Invariants:
//! - A key is used only if the token says that it was made there and could never be extracted, so a key that somebody
//!   put there, and knows, is refused.
//! - A wrong PIN is tried once and not again until its file changes: tokens lock themselves after a few.
//! - A lost session, a restarted module and a token that was away are recovered from by the next call.
//! - The token's error codes for a failed tag differ between makers (SoftHSM says CKR_GENERAL_ERROR), so a failed
//!   decryption that is no fault of session, token or key counts as *wrong key*.

use super::external::{Binding, Vault};
use super::{MasterState, MasterVersion, ProviderFault};
use crate::context::Id;
use crate::material::{Secret, random_array};
use crate::record::{KeyName, ProviderKind};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;
use zeroize::{Zeroize, Zeroizing};

const IV_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const BLOB_BYTES: usize = IV_BYTES + 32 + TAG_BYTES;
/// Sessions kept open; more are opened when more calls are under way at one time.
const SESSIONS_MAX: usize = 8;
const PIN_BYTES_MAX: u64 = 256;

/// Where the master keys of a geo are, in PKCS#11's terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pkcs11Settings {
    /// The maker's module, a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// A file with the user's PIN.
    pub pin_file: PathBuf,
    /// Keys are labelled `<label>-v<version>`.
    pub label: String,
}

pub(super) struct Token {
    settings: Pkcs11Settings,
    module: Pkcs11,
    open: Mutex<Open>,
}

/// What is lost when the token is.
#[derive(Default)]
struct Open {
    slot: Option<Slot>,
    sessions: Vec<Session>,
    handles: HashMap<Id, ObjectHandle>,
    /// The PIN file that was refused, as it was then.
    refused_pin: Option<(SystemTime, u64)>,
}

impl Token {
    /// Loads the module, finds the token, logs in.
    pub(super) fn open(settings: Pkcs11Settings) -> Result<Self, ProviderFault> {
        let module = load(&settings.module)?;
        let token = Self { settings, module, open: Mutex::new(Open::default()) };
        token.with_session(|_, _| Ok(()))?;
        Ok(token)
    }

    fn label(&self, version: u32) -> String {
        format!("{}-v{version}", self.settings.label)
    }

    /// Runs `act` with a session that is logged in; once more with a new one if the first turned out to be lost.
    fn with_session<T>(
        &self,
        act: impl Fn(&Session, &mut HashMap<Id, ObjectHandle>) -> Result<T, Trouble>,
    ) -> Result<T, ProviderFault> {
        for is_last in [false, true] {
            let (session, mut handles) = self.session()?;
            match act(&session, &mut handles) {
                Ok(done) => {
                    self.keep(session, handles);
                    return Ok(done);
                }
                Err(Trouble::Fault(fault)) => {
                    self.keep(session, handles);
                    return Err(fault);
                }
                Err(Trouble::Lost(fault)) if is_last => return Err(fault),
                Err(Trouble::Lost(_)) => self.forget(),
            }
        }
        unreachable!("the second attempt returns")
    }

    /// Puts a session back for the next call.
    fn keep(&self, session: Session, handles: HashMap<Id, ObjectHandle>) {
        let mut open = self.open.lock();
        open.handles = handles;
        if open.sessions.len() < SESSIONS_MAX {
            open.sessions.push(session);
        }
    }

    /// Lets go of everything that a lost token took with it.
    fn forget(&self) {
        let mut open = self.open.lock();
        open.sessions.clear();
        open.handles.clear();
        open.slot = None;
    }

    fn session(&self) -> Result<(Session, HashMap<Id, ObjectHandle>), ProviderFault> {
        let mut open = self.open.lock();
        if let Some(session) = open.sessions.pop() {
            return Ok((session, open.handles.clone()));
        }
        let slot = match open.slot {
            Some(slot) => slot,
            None => *open.slot.insert(self.find_slot()?),
        };
        let session = match self.module.open_rw_session(slot) {
            Ok(session) => session,
            Err(_) => {
                // The slot may have been given another number since.
                let slot = *open.slot.insert(self.find_slot()?);
                self.module.open_rw_session(slot).map_err(|error| trouble(&error).fault())?
            }
        };
        self.log_in(&session, &mut open)?;
        Ok((session, open.handles.clone()))
    }

    fn find_slot(&self) -> Result<Slot, ProviderFault> {
        let slots = match self.module.get_slots_with_initialized_token() {
            Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {
                initialize(&self.module)?;
                self.module.get_slots_with_initialized_token()
            }
            other => other,
        };
        let slots = slots.map_err(|error| trouble(&error).fault())?;
        let is_ours = |slot: &&Slot| {
            self.module.get_token_info(**slot).is_ok_and(|info| info.label().trim_end() == self.settings.token)
        };
        let slot = *slots.iter().find(is_ours).ok_or(ProviderFault::TokenMissing)?;
        let mechanisms = self.module.get_mechanism_list(slot).map_err(|error| trouble(&error).fault())?;
        if [MechanismType::AES_GCM, MechanismType::AES_KEY_GEN].iter().any(|needed| !mechanisms.contains(needed)) {
            return Err(ProviderFault::Mechanism);
        }
        Ok(slot)
    }

    fn log_in(&self, session: &Session, open: &mut Open) -> Result<(), ProviderFault> {
        let meta = std::fs::metadata(&self.settings.pin_file).map_err(|_| ProviderFault::SecretFile)?;
        let seen = (meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len());
        if open.refused_pin == Some(seen) {
            return Err(ProviderFault::PinWrong);
        }
        match session.login(UserType::User, Some(&pin(&self.settings.pin_file)?)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                open.refused_pin = None;
                Ok(())
            }
            Err(error) => {
                let fault = trouble(&error).fault();
                if fault == ProviderFault::PinWrong {
                    open.refused_pin = Some(seen);
                }
                Err(fault)
            }
        }
    }

    /// The handle of a master key, checked to be one that never left the token.
    fn handle(session: &Session, handles: &mut HashMap<Id, ObjectHandle>, id: Id) -> Result<ObjectHandle, Trouble> {
        if let Some(handle) = handles.get(&id) {
            return Ok(*handle);
        }
        let found = find(session, &[Attribute::Id(id.to_vec())])?.ok_or(ProviderFault::KeyMissing)?;
        never_left(session, found)?;
        handles.insert(id, found);
        Ok(found)
    }

    /// What a failed cryptographic call means, when session and token are well: the tag, or the key's state.
    fn refused(session: &Session, handle: ObjectHandle, may: AttributeType, error: &Error) -> Trouble {
        match trouble(error) {
            Trouble::Fault(ProviderFault::Garbage) => {}
            known => return known,
        }
        match session.get_attributes(handle, &[may]).as_deref() {
            Ok([Attribute::Encrypt(true) | Attribute::Decrypt(true)]) => ProviderFault::WrongKey.into(),
            Ok(_) => ProviderFault::Disabled.into(),
            Err(error) => trouble(error),
        }
    }
}

impl Vault for Token {
    fn kind(&self) -> ProviderKind {
        ProviderKind::Pkcs11
    }

    fn make(&self, version: u32) -> Result<Id, ProviderFault> {
        let label = self.label(version).into_bytes();
        self.with_session(|session, handles| {
            if let Some(found) = find(session, &[Attribute::Label(label.clone())])? {
                never_left(session, found)?;
                let Some(Attribute::Id(id)) = session.get_attributes(found, &[AttributeType::Id])?.pop() else {
                    return Err(ProviderFault::Exportable.into());
                };
                return Ok(id.try_into().map_err(|_| ProviderFault::Exportable)?);
            }
            let id: Id = random_array();
            let template = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::ValueLen(32.into()),
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Modifiable(true),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Wrap(false),
                Attribute::Unwrap(false),
                Attribute::Sign(false),
                Attribute::Verify(false),
                Attribute::Derive(false),
                Attribute::Label(label.clone()),
                Attribute::Id(id.to_vec()),
            ];
            let made = session.generate_key(&Mechanism::AesKeyGen, &template)?;
            never_left(session, made)?;
            handles.insert(id, made);
            Ok(id)
        })
    }

    fn wrap(&self, master: KeyName, secret: &Secret, binding: &Binding) -> Result<Vec<u8>, ProviderFault> {
        let aad = binding.to_bytes();
        self.with_session(|session, handles| {
            let handle = Self::handle(session, handles, master.id)?;
            let mut iv: [u8; IV_BYTES] = random_array();
            let mut blob = iv.to_vec();
            let parameters = GcmParams::new(&mut iv, &aad, (8 * TAG_BYTES as u64).into())?;
            let sealed = session.encrypt(&Mechanism::AesGcm(parameters), handle, secret.bytes());
            let sealed = sealed.map_err(|error| Self::refused(session, handle, AttributeType::Encrypt, &error))?;
            blob.extend_from_slice(&sealed);
            if iv[..] != blob[..IV_BYTES] || blob.len() != BLOB_BYTES {
                // A token that chooses the IV itself writes it back; such tokens are not supported, rather than
                // stored with the wrong one.
                return Err(ProviderFault::Mechanism.into());
            }
            Ok(blob)
        })
    }

    fn unwrap(&self, master: KeyName, blob: &[u8], binding: &Binding) -> Result<Secret, ProviderFault> {
        if blob.len() != BLOB_BYTES {
            return Err(ProviderFault::WrongKey);
        }
        let aad = binding.to_bytes();
        self.with_session(|session, handles| {
            let handle = Self::handle(session, handles, master.id)?;
            let (iv, sealed) = blob.split_at(IV_BYTES);
            let mut iv: [u8; IV_BYTES] = iv.try_into().expect("12 bytes");
            let parameters = GcmParams::new(&mut iv, &aad, (8 * TAG_BYTES as u64).into())?;
            let opened = session.decrypt(&Mechanism::AesGcm(parameters), handle, sealed);
            let opened = opened.map_err(|error| Self::refused(session, handle, AttributeType::Decrypt, &error))?;
            let mut opened = Zeroizing::new(opened);
            let key = <&[u8; 32]>::try_from(opened.as_slice()).map_err(|_| ProviderFault::Garbage)?;
            let secret = Secret::filled(|out| *out = *key);
            opened.zeroize();
            Ok(secret)
        })
    }

    fn enforce(&self, versions: &[MasterVersion]) -> Result<(), ProviderFault> {
        self.with_session(|session, handles| {
            for version in versions.iter().filter(|version| version.state != MasterState::Destroyed) {
                let handle = Self::handle(session, handles, version.name.id)?;
                let may_encrypt = version.state == MasterState::Active;
                let may_decrypt = version.state != MasterState::Disabled;
                let wanted = [Attribute::Encrypt(may_encrypt), Attribute::Decrypt(may_decrypt)];
                if session.get_attributes(handle, &[AttributeType::Encrypt, AttributeType::Decrypt])? != wanted {
                    session.update_attributes(handle, &wanted)?;
                }
            }
            Ok(())
        })
    }

    fn may_destroy(&self, _: u32, _: &[MasterVersion]) -> Result<(), ProviderFault> {
        Ok(())
    }

    fn destroy(&self, master: KeyName) -> Result<String, ProviderFault> {
        self.with_session(|session, handles| {
            handles.remove(&master.id);
            if let Some(found) = find(session, &[Attribute::Id(master.id.to_vec())])? {
                session.destroy_object(found)?;
            }
            match find(session, &[Attribute::Id(master.id.to_vec())])? {
                Some(_) => Err(ProviderFault::Garbage.into()),
                None => Ok(()),
            }
        })?;
        self.open.lock().handles.remove(&master.id);
        Ok(format!("pkcs11:{}:{}", hex::encode(master.id), self.label(master.version)))
    }
}

/// Whether a call may be tried again with a new session.
enum Trouble {
    Lost(ProviderFault),
    Fault(ProviderFault),
}

impl Trouble {
    const fn fault(&self) -> ProviderFault {
        match self {
            Self::Lost(fault) | Self::Fault(fault) => *fault,
        }
    }
}

impl From<ProviderFault> for Trouble {
    fn from(fault: ProviderFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        trouble(&error)
    }
}

fn trouble(error: &Error) -> Trouble {
    let Error::Pkcs11(code, _) = error else { return Trouble::Fault(ProviderFault::Garbage) };
    match code {
        RvError::SessionClosed
        | RvError::SessionHandleInvalid
        | RvError::UserNotLoggedIn
        | RvError::ObjectHandleInvalid
        | RvError::KeyHandleInvalid
        | RvError::OperationActive
        | RvError::CryptokiNotInitialized => Trouble::Lost(ProviderFault::Device),
        RvError::SlotIdInvalid | RvError::TokenNotPresent | RvError::DeviceRemoved | RvError::TokenNotRecognized => {
            Trouble::Lost(ProviderFault::TokenMissing)
        }
        RvError::DeviceError | RvError::DeviceMemory | RvError::HostMemory | RvError::SessionCount => {
            Trouble::Fault(ProviderFault::Device)
        }
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange | RvError::UserPinNotInitialized => {
            Trouble::Fault(ProviderFault::PinWrong)
        }
        RvError::PinLocked | RvError::PinExpired => Trouble::Fault(ProviderFault::PinLocked),
        RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::FunctionNotSupported => {
            Trouble::Fault(ProviderFault::Mechanism)
        }
        RvError::KeyFunctionNotPermitted | RvError::ActionProhibited => Trouble::Fault(ProviderFault::Disabled),
        _ => Trouble::Fault(ProviderFault::Garbage),
    }
}

/// The one key with these attributes. Two are a mistake that nobody should guess about.
fn find(session: &Session, attributes: &[Attribute]) -> Result<Option<ObjectHandle>, Trouble> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)];
    template.extend_from_slice(attributes);
    match session.find_objects(&template)?.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        _ => Err(ProviderFault::Occupied.into()),
    }
}

fn never_left(session: &Session, key: ObjectHandle) -> Result<(), Trouble> {
    let asked = [
        AttributeType::KeyType,
        AttributeType::ValueLen,
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Local,
    ];
    let wanted = [
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Sensitive(true),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
    ];
    if session.get_attributes(key, &asked)? == wanted { Ok(()) } else { Err(ProviderFault::Exportable.into()) }
}

/// A module is loaded and initialised once in a process, however many geos keep their keys behind it; it stays.
fn load(path: &Path) -> Result<Pkcs11, ProviderFault> {
    static LOADED: OnceLock<Mutex<HashMap<PathBuf, Pkcs11>>> = OnceLock::new();
    let mut loaded = LOADED.get_or_init(Mutex::default).lock();
    if let Some(module) = loaded.get(path) {
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path).map_err(|_| ProviderFault::Module)?;
    initialize(&module)?;
    loaded.insert(path.to_owned(), module.clone());
    Ok(module)
}

fn initialize(module: &Pkcs11) -> Result<(), ProviderFault> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(_) => Err(ProviderFault::Module),
    }
}

fn pin(path: &Path) -> Result<AuthPin, ProviderFault> {
    let bytes = crate::disk::read(path, PIN_BYTES_MAX).ok().flatten().ok_or(ProviderFault::SecretFile)?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).map_err(|_| ProviderFault::SecretFile)?.trim_end();
    if text.is_empty() { Err(ProviderFault::SecretFile) } else { Ok(AuthPin::new(text.into())) }
}
