//! Writes an ONNX graph node by node.

use prost::Message;

use super::onnx::{
    AttributeProto, DimensionProto, EXTERNAL, ElementType, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, attribute,
};

/// ONNX Runtime's own operators.
pub(crate) const CONTRIB: &str = "com.microsoft";
/// Version of the standard operators we write; old enough for every runtime that `ort` accepts.
const OPSET: i64 = 17;
/// IR version that goes with it.
const IR_VERSION: i64 = 8;

/// An attribute's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Attribute {
    Float(f32),
    Int(i64),
}

/// One dimension of an input or output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dimension {
    Named(&'static str),
    Fixed(usize),
}

/// A graph under construction. Values are named by strings; node outputs are named by
/// the caller so that graphs are the same from run to run.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    graph: GraphProto,
    external: Option<External>,
}

/// Tensors that lie beside the graph, in one file.
struct External {
    file: String,
    bytes: Vec<u8>,
}

/// Offsets of external tensors: mapped into memory, so they start on a page (64 KiB on
/// the systems with the largest granularity).
const EXTERNAL_ALIGNMENT: usize = 65_536;

impl GraphBuilder {
    /// An empty graph. With `external`, tensors added by [`GraphBuilder::large`] go to a
    /// file of that name.
    pub(crate) fn new(external: Option<&str>) -> Self {
        GraphBuilder {
            graph: GraphProto {
                name: Some("encoder".to_owned()),
                ..GraphProto::default()
            },
            external: external.map(|file| External {
                file: file.to_owned(),
                bytes: Vec::new(),
            }),
        }
    }

    /// Declares an input.
    pub(crate) fn input(&mut self, name: &str, element: ElementType, shape: &[Dimension]) {
        self.graph.input.push(value_info(name, element, shape));
    }

    /// Declares an output.
    pub(crate) fn output(&mut self, name: &str, element: ElementType, shape: &[Dimension]) {
        self.graph.output.push(value_info(name, element, shape));
    }

    /// Adds a standard operator with one output, `output`, which it returns.
    pub(crate) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.any_node("", op, inputs, output, attributes)
    }

    /// Adds one of ONNX Runtime's own operators.
    pub(crate) fn contrib(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) -> String {
        self.any_node(CONTRIB, op, inputs, output, attributes)
    }

    /// The same with several outputs.
    pub(crate) fn contrib_many(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) {
        let attributes = attributes
            .iter()
            .map(|&(name, value)| scalar_attribute(name, value))
            .collect();
        let first = outputs.first().copied().unwrap_or_default();
        let mut node = node_proto(CONTRIB, op, inputs, first, attributes);
        node.output = outputs.iter().map(|&s| s.to_owned()).collect();
        self.graph.node.push(node);
    }

    fn any_node(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) -> String {
        let attributes = attributes
            .iter()
            .map(|&(name, value)| scalar_attribute(name, value))
            .collect();
        self.graph
            .node
            .push(node_proto(domain, op, inputs, output, attributes));
        output.to_owned()
    }

    /// Adds a choice between two operators of ONNX Runtime's own: the first where
    /// `condition` holds. Both take values of this graph and have the same attributes.
    pub(crate) fn either(
        &mut self,
        condition: &str,
        op: &str,
        inputs: [&[&str]; 2],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) -> String {
        let branch = |name: &str, inputs: &[&str]| {
            let value = format!("{output}.{name}");
            let attributes = attributes
                .iter()
                .map(|&(name, value)| scalar_attribute(name, value))
                .collect();
            AttributeProto {
                name: Some(format!("{name}_branch")),
                g: Some(GraphProto {
                    node: vec![node_proto(CONTRIB, op, inputs, &value, attributes)],
                    name: Some(value.clone()),
                    output: vec![ValueInfoProto {
                        name: Some(value),
                        r#type: None,
                    }],
                    ..GraphProto::default()
                }),
                kind: Some(attribute::GRAPH),
                ..AttributeProto::default()
            }
        };
        let [yes, no] = inputs;
        let branches = vec![branch("then", yes), branch("else", no)];
        self.graph
            .node
            .push(node_proto("", "If", &[condition], output, branches));
        output.to_owned()
    }

    /// A constant of `f32`, row-major.
    pub(crate) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.tensor(name, ElementType::Float, shape, float_bytes(values))
    }

    /// A constant of `i8`, row-major.
    pub(crate) fn signed(&mut self, name: &str, shape: &[usize], values: &[i8]) -> String {
        let bytes = values.iter().map(|v| v.cast_unsigned()).collect();
        self.tensor(name, ElementType::Int8, shape, bytes)
    }

    /// A constant of `u8`, row-major.
    pub(crate) fn unsigned(&mut self, name: &str, shape: &[usize], values: &[u8]) -> String {
        self.tensor(name, ElementType::Uint8, shape, values.to_vec())
    }

    /// A single `i64`, of no dimensions.
    pub(crate) fn integer(&mut self, name: &str, value: i64) -> String {
        let bytes = value.to_le_bytes().to_vec();
        self.tensor(name, ElementType::Int64, &[], bytes)
    }

    /// A constant of `i64`.
    pub(crate) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensor(name, ElementType::Int64, &[values.len()], bytes)
    }

    fn tensor(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        self.graph.initializer.push(TensorProto {
            raw_data: Some(bytes),
            ..described(name, element, shape)
        });
        name.to_owned()
    }

    /// A constant given as little-endian bytes, which goes to the external file where
    /// there is one.
    pub(crate) fn large(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        let Some(external) = &mut self.external else {
            return self.tensor(name, element, shape, bytes);
        };
        let offset = external.bytes.len().next_multiple_of(EXTERNAL_ALIGNMENT);
        external.bytes.resize(offset, 0);
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        self.graph.initializer.push(TensorProto {
            external_data: vec![
                entry("location", external.file.clone()),
                entry("offset", offset.to_string()),
                entry("length", bytes.len().to_string()),
            ],
            data_location: Some(EXTERNAL),
            ..described(name, element, shape)
        });
        external.bytes.extend_from_slice(&bytes);
        name.to_owned()
    }

    /// The serialised model and the contents of the external file, where there is one.
    pub(crate) fn finish(self) -> (Vec<u8>, Option<Vec<u8>>) {
        let import = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("gleaner".to_owned()),
            graph: Some(self.graph),
            opset_import: vec![import("", OPSET), import(CONTRIB, 1)],
        };
        (
            model.encode_to_vec(),
            self.external.map(|external| external.bytes),
        )
    }
}

fn scalar_attribute(name: &str, value: Attribute) -> AttributeProto {
    let (f, i, kind) = match value {
        Attribute::Float(f) => (Some(f), None, attribute::FLOAT),
        Attribute::Int(i) => (None, Some(i), attribute::INT),
    };
    AttributeProto {
        name: Some(name.to_owned()),
        f,
        i,
        g: None,
        kind: Some(kind),
    }
}

fn node_proto(
    domain: &str,
    op: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|&s| s.to_owned()).collect(),
        output: vec![output.to_owned()],
        name: Some(format!("{output}/{op}")),
        op_type: Some(op.to_owned()),
        attribute,
        domain: (!domain.is_empty()).then(|| domain.to_owned()),
    }
}

/// Little-endian bytes of floats.
pub(crate) fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn described(name: &str, element: ElementType, shape: &[usize]) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|&size| size as i64).collect(),
        data_type: Some(element as i32),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    }
}

fn value_info(name: &str, element: ElementType, shape: &[Dimension]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|dimension| match *dimension {
            Dimension::Named(name) => DimensionProto {
                dim_value: None,
                dim_param: Some(name.to_owned()),
            },
            Dimension::Fixed(size) => DimensionProto {
                dim_value: Some(size as i64),
                dim_param: None,
            },
        })
        .collect();
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(element as i32),
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}
